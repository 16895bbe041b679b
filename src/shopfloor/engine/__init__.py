"""What an agent is made of: agents > tools > providers | sandbox | git > workspace. No database, no web."""

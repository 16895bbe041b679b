"""The ground floor: errors, ids, clock, money, principal. A closed list; it imports nothing of ours."""

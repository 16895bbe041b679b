"""The rooms: tables, rules and HTTP of one subject each. See each room's own sign."""

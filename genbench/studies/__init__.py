"""What a user asks for, from config to result."""

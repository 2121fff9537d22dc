"""Pages about people: who they are, when they are away, who is on call, and what waits for a second person."""

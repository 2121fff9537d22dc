"""The acceptance stories, told by real processes over real HTTP on a fast clock."""

"""What happens when a target fails: the flow that tries candidates, its rules, the circuits, and the two drivers."""

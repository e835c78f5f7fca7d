"""What may be sent to cheaper targets, learned from one's own traces and outcomes: screened, tried out, promised with a
bound, and taken back if it no longer holds (docs/learning.md)."""

"""Your own traces through the router, offline: what each step would have been sent to, and what that would cost."""

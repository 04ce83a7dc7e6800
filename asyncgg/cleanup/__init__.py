"""Clean-up policies: rules that select associations, and the decisions about them."""

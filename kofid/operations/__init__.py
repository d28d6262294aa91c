"""The whole work of a command as one call, where it takes several rooms."""

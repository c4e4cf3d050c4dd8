"""Text towers as one compiled loop, in place of their own code, where that is proven right."""

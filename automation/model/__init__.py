"""The words of Mainstay: pure models, no effects."""

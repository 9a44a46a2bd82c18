"""The LSeg page: an image, labels that come and go, and a mask that follows them; lessons; a look inside."""

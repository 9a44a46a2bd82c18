"""The LSeg page: a picture, labels that come and go, and a mask that follows them; lessons; a look inside."""

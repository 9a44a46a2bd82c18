"""The ViLD page: an image, labels that come and go, and a box for each thing that they name; lessons; a look inside."""

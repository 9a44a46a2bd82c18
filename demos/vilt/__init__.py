"""The ViLT page: questions about images, texts that fit or not, masked words, and which word lies on which patch."""

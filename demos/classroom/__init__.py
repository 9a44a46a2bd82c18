"""The Classroom page: compose a scene and see everything that is known about it; make a data set of many."""

"""PointCLIP in the classroom: few shots and their curve, the supervised PointNet, what is measured."""

raise ImportError("Pulsar is not part of tirender; PointsRenderer renders point clouds")

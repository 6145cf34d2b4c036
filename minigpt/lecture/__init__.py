"""The lecture itself: the tour, and the exercises of its notebooks."""

"""Many points at once: theory, simulation or both over ranges of any field and option.

    axes -> points (a problem with its options) -> an engine runs each -> one file a point -> Sweep

`axes` lays the points out, `point` computes and stores one of them, `folder` knows which files are
whole, `engines` runs points in this process, in others or on a Dask cluster, `run` is the loop in
view and `collect` puts the files together. A point knows nothing of the others, so that neither
their order nor the number of workers changes a bit of it.
"""

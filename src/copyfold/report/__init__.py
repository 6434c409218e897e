"""What a model learned, put together from probes and samplers: pictures of a run, and the diagnosis."""

"""The larger commands of `speechllm-bench`, one module each. `cli` calls them."""

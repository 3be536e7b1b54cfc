"""What the commands of `speechllm-bench` do, one module for each larger one; `cli` begins them."""

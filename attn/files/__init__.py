"""Read and write files by location: a local path or an `s3://` URI."""

"""Long-lived processes: what runs beside the jobs and answers questions about them."""

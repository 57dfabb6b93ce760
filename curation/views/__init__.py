"""What people look at: report, tune, query, explain, status, doctor."""

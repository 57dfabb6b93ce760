"""The tool's database: its tables, its transactions on SQLite and PostgreSQL, and the migrations between versions."""

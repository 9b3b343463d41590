//! A node in memory, for fault tests. Nothing here may reach the real system.

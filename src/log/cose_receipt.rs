//! COSE receipts of inclusion (RFC 9942, RFC 9052).

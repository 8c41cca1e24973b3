//! Full disks, read-only directories, wrong clocks.

//! Memory mappings of our own, for what is shared with the kernel.

use std::io;
use std::ptr::NonNull;

const PAGE_BYTES: usize = 4096;

/// Page-aligned zeroed memory of its own mapping: untouched pages cost nothing, whatever the allocator does.
pub(super) struct Region {
    pub(super) start: NonNull<u8>,
    bytes: usize,
}

impl Region {
    pub(super) fn new(bytes: usize) -> io::Result<Region> {
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a fresh anonymous mapping overlaps nothing.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, kind, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mapping at address 0"))?;
        Ok(Region { start, bytes })
    }

    /// Gives the memory of a part back to the kernel: it reads as zeroes from now on, and costs nothing until it is touched
    /// again. Nobody may hold bytes of it. Only whole pages go; a kernel that refuses leaves all as it is.
    pub(super) fn forget(&self, offset: usize, bytes: usize) {
        debug_assert!(offset + bytes <= self.bytes);
        if offset.is_multiple_of(PAGE_BYTES) && bytes.is_multiple_of(PAGE_BYTES) {
            // SAFETY: the part lies inside the mapping and begins at a page; no view onto it is alive.
            unsafe { libc::madvise(self.start.as_ptr().add(offset).cast(), bytes, libc::MADV_DONTNEED) };
        }
    }
}

#[cfg(test)]
impl Region {
    /// How much of it is in memory.
    pub(super) fn resident_bytes(&self) -> usize {
        let mut pages = vec![0_u8; self.bytes.div_ceil(PAGE_BYTES)];
        // SAFETY: the mapping is ours, and there is a byte for each of its pages.
        let outcome = unsafe { libc::mincore(self.start.as_ptr().cast(), self.bytes, pages.as_mut_ptr()) };
        assert_eq!(outcome, 0);
        pages.iter().filter(|page| **page & 1 == 1).count() * PAGE_BYTES
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with the same length; regions are dropped only after the kernel has let go of them
        // and no lease is left (`Core::shut`).
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

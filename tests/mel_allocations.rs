// SPDX-License-Identifier: MPL-2.0

//! A stream of sound allocates nothing but its patches.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use gstinstruments::mel::{FrontEnd, Partial, PatchOptions, Patcher, Preset, Segmentation};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations() -> usize {
    ALLOCATIONS.load(Ordering::Relaxed)
}

/// One test alone in this program: others would be counted, too.
#[test]
fn three_minutes_of_sound_allocate_their_patches_alone() {
    let sound: Vec<f32> = (0..48_000).map(|n| (n as f32 * 0.05).sin()).collect();
    for preset in [Preset::Choi, Preset::Yamnet] {
        for rate in [8_000, 12_000, 44_100, 47_999, 48_000, 96_000] {
            for segmentation in [Segmentation::Sliding, Segmentation::Central] {
                let options = PatchOptions {
                    segmentation,
                    partial: Partial::Repeat,
                    interval: 1.0,
                    content: Some(10.0),
                    total: Some(u64::from(rate) * 180),
                };
                let front_end = FrontEnd::preset(preset);
                let mut patcher = Patcher::new(&front_end, rate, options).unwrap();
                let mut patches = 0;
                let mut second = |patcher: &mut Patcher| {
                    for buffer in sound[..48_000.min(rate as usize)].chunks(1_000) {
                        patcher.push(buffer, &mut |_| patches += 1);
                    }
                };
                // Reused memory reaches its size in the first pieces.
                second(&mut patcher);
                let before = allocations();
                for _ in 0..180 {
                    second(&mut patcher);
                }
                let made = allocations() - before;
                assert!(made <= patches, "{rate} Hz: {made} for {patches} patches");
            }
        }
    }
}

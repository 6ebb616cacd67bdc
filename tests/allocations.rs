// SPDX-License-Identifier: MPL-2.0

//! A stream of sound allocates nothing but its patches, in the pure module and in the element.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use common::init;
use gst_check::Harness;
use gstinstruments::mel::{FrontEnd, Partial, PatchOptions, Patcher, Preset, Segmentation};

struct Counting;

thread_local! {
    /// Allocations of this thread: the test's own, and not those of the program that runs it.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations() -> usize {
    ALLOCATIONS.get()
}

#[test]
fn three_minutes_of_sound_allocate_their_patches_alone() {
    let sound: Vec<f32> = (0..1_000).map(|n| (n as f32 * 0.05).sin()).collect();
    let run = |rate: u32, segmentation| {
        let options = PatchOptions {
            segmentation,
            partial: Partial::Repeat,
            interval: 1.0,
            content: Some(10.0),
            total: Some(u64::from(rate) * 180),
        };
        let front_end = FrontEnd::preset(Preset::Yamnet);
        let mut patcher = Patcher::new(&front_end, rate, options).unwrap();
        let mut patches = 0;
        let before = allocations();
        for _ in 0..180 * rate / 1_000 {
            patcher.push(&sound, &mut |_| patches += 1);
        }
        let made = allocations() - before;
        assert_eq!(made, patches, "{rate} Hz: {made} for {patches} patches");
        assert!(patches > 0);
    };
    for rate in [8_000, 16_000, 44_100, 47_999, 48_000, 64_000] {
        run(rate, Segmentation::Sliding);
    }
    run(48_000, Segmentation::Uniform);
}

#[test]
fn buffers_without_a_patch_allocate_nothing_in_the_element() {
    init();
    let mut harness = Harness::new_parse("melspec preset=yamnet");
    harness.set_src_caps_str("audio/x-raw,format=S16LE,rate=48000,channels=2,layout=interleaved");
    let buffers: Vec<gst::Buffer> = (0..500u64)
        .map(|index| {
            let mut buffer = gst::Buffer::from_slice([17; 4 * 480]);
            let timestamp = gst::ClockTime::from_mseconds(10 * index);
            buffer.get_mut().unwrap().set_pts(timestamp);
            buffer
        })
        .collect();
    let mut patches = 0;
    for (index, buffer) in buffers.into_iter().enumerate() {
        let before = allocations();
        harness.push(buffer).unwrap();
        let made = allocations() - before;
        let output = harness.pull().unwrap();
        let has_patch = output.iter_meta::<gst::Meta>().count() > 0;
        patches += usize::from(has_patch);
        // The first buffer is what makes the element ask downstream and set itself up.
        if index > 0 && !has_patch {
            assert_eq!(made, 0, "buffer {index}");
        }
    }
    // The fifth, at 5 s, is for the buffer after these.
    assert_eq!(patches, 4);
}

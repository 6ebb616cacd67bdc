// SPDX-License-Identifier: MPL-2.0

//! A stream of sound allocates its first patch and no further one, in the pure module and in the element.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use common::init;
use gst_check::Harness;
use gstinstruments::mel::{FrontEnd, Partial, PatchOptions, Patcher, Preset, Segmentation};

struct Counting;

thread_local! {
    /// Bytes that this thread allocated: the test's own, and not those of the program that runs it.
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.set(ALLOCATED.get() + layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATED.set(ALLOCATED.get() + size);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocated() -> usize {
    ALLOCATED.get()
}

/// Bytes of YAMNet's patch with its reference counts.
const PATCH: usize = 64 * 96 * size_of::<f32>() + 2 * size_of::<usize>();

#[test]
fn three_minutes_of_sound_allocate_one_patch() {
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
        let before = allocated();
        for _ in 0..180 * rate / 1_000 {
            patcher.push(&sound, &mut |_| patches += 1);
        }
        assert_eq!(allocated() - before, PATCH, "{rate} Hz");
        patches
    };
    for rate in [8_000, 16_000, 44_100, 47_999, 48_000, 64_000] {
        assert!(run(rate, Segmentation::Sliding) > 170);
    }
    assert_eq!(run(48_000, Segmentation::Uniform), 1);
}

#[test]
fn the_element_allocates_what_describes_a_patch_alone() {
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
        let before = allocated();
        harness.push(buffer).unwrap();
        let made = allocated() - before;
        let output = harness.pull().unwrap();
        let has_patch = output.iter_meta::<gst::Meta>().count() > 0;
        patches += usize::from(has_patch);
        match (index, has_patch) {
            // This buffer makes the element ask downstream and set itself up.
            (0, _) => (),
            (_, false) => assert_eq!(made, 0, "buffer {index}"),
            (_, true) if patches == 1 => assert!(made > PATCH, "{made} B"),
            (_, true) => assert!(made < PATCH / 20, "{made} B for patch {patches}"),
        }
    }
    // The fifth, at 5 s, is for the buffer after these.
    assert_eq!(patches, 4);
}

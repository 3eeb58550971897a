//! The contract, on the heap.

use std::sync::LazyLock;

use shared_region_conformance::{Sut, suite};
use shared_region_heap::Heap;

#[derive(Debug)]
struct OnHeap;

impl Sut for OnHeap {
    type Backend = Heap;
    const LABEL: &'static str = "heap";

    fn backend() -> Heap {
        static HEAP: LazyLock<Heap> = LazyLock::new(Heap::new);
        HEAP.clone()
    }

    fn shares_with_processes() -> bool {
        false
    }
}

suite!(heap: OnHeap);

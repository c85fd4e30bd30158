//! The worker: trains one stage after another and writes what happened as JSON lines.

fn main() {
    let t = tch::Tensor::ones([2, 2], (tch::Kind::Float, tch::Device::Cpu));
    t.matmul(&t).print();
}

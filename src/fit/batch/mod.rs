//! The law of the best batch, read off curves of equal loss (MiniCPM, arXiv 2404.06395, section 3.2).

pub mod equal_loss_curves;
pub mod optimal_batch;

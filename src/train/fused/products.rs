//! Products of matrices in row-major buffers, on the calling thread; refuses to know what the matrices mean.

/// A matrix inside a buffer, read by rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> View<'a> {
    /// `rows` of `columns` elements, one below the other.
    pub(crate) fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        Self::strided(data, rows, columns, columns)
    }

    /// `rows` of `columns` elements that begin `stride` elements after one another.
    pub(crate) fn strided(data: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        assert!(
            extent(rows, columns, stride) <= data.len(),
            "the matrix lies inside its buffer"
        );
        Self {
            data,
            rows,
            columns,
            row_stride: stride,
            column_stride: 1,
        }
    }

    /// The same elements with rows and columns exchanged.
    pub(crate) fn t(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// A matrix that is written, its rows `stride` elements apart.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    data: &'a mut [f32],
    stride: usize,
    add: bool,
}

impl<'a> Target<'a> {
    /// The product takes the place of what is there.
    pub(crate) fn replace(data: &'a mut [f32], stride: usize) -> Self {
        Self {
            data,
            stride,
            add: false,
        }
    }

    /// The product is added to what is there.
    pub(crate) fn add(data: &'a mut [f32], stride: usize) -> Self {
        Self {
            data,
            stride,
            add: true,
        }
    }
}

/// Elements from the first to the last of a row-major matrix.
fn extent(rows: usize, columns: usize, stride: usize) -> usize {
    assert!(columns <= stride || rows <= 1, "rows do not overlap");
    if rows == 0 || columns == 0 {
        0
    } else {
        (rows - 1) * stride + columns
    }
}

/// `target (+)= factor · left · right`.
#[expect(clippy::needless_pass_by_value, reason = "a target is made for one product")]
#[expect(unsafe_code, reason = "the products' crate takes pointers and strides")]
pub(crate) fn multiply(target: Target<'_>, factor: f32, left: View<'_>, right: View<'_>) {
    assert_eq!(left.columns, right.rows, "the inner dimensions agree");
    let (rows, columns, inner) = (left.rows, right.columns, left.columns);
    assert!(
        extent(rows, columns, target.stride) <= target.data.len(),
        "the target holds the product"
    );
    // SAFETY: views were checked to lie inside their buffers when they were made and the target just now; its rows do
    // not overlap, and it is borrowed exclusively, so that it overlaps neither view.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inner,
            target.data.as_mut_ptr(),
            1,
            target.stride.cast_signed(),
            target.add,
            left.data.as_ptr(),
            left.column_stride.cast_signed(),
            left.row_stride.cast_signed(),
            right.data.as_ptr(),
            right.column_stride.cast_signed(),
            right.row_stride.cast_signed(),
            1.0,
            factor,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_those_of_the_definition() {
        let a: Vec<f32> = (0..6).map(|i| i as f32).collect();
        let b: Vec<f32> = (0..12).map(|i| i as f32 - 3.0).collect();
        let mut c = vec![1.0; 8];
        multiply(
            Target::add(&mut c, 4),
            2.0,
            View::new(&a, 2, 3),
            View::new(&b, 4, 3).t(),
        );
        for (i, row) in c.chunks(4).enumerate() {
            for (j, &value) in row.iter().enumerate() {
                let sum: f32 = (0..3).map(|k| a[i * 3 + k] * b[j * 3 + k]).sum();
                assert!((value - 1.0 - 2.0 * sum).abs() < 1e-6);
            }
        }
    }
}

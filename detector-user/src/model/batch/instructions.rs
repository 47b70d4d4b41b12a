//! What a processor can do.

/// What a processor can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::model) enum Instructions {
    /// Nothing beyond what any can: all trees are walked.
    #[default]
    Scalar,
    /// AVX2.
    Avx2,
    /// AVX-512 F, BW and DQ, with BMI 1 and 2.
    Avx512,
}

impl Instructions {
    /// This processor's.
    pub(in crate::model) fn here() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("bmi1")
                && is_x86_feature_detected!("bmi2")
            {
                return Self::Avx512;
            }
            if is_x86_feature_detected!("avx2") {
                return Self::Avx2;
            }
        }
        Self::Scalar
    }

    /// Inner nodes that take bit-sliced as long as one step of a walk: what was measured.
    pub(super) fn nodes_a_step(self) -> usize {
        match self {
            Self::Scalar => 0,
            Self::Avx2 => 12,
            Self::Avx512 => 32,
        }
    }
}

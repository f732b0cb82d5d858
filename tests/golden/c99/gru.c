/* See gru.h. */
#include "gru.h"

#include <stdint.h>

/* gcc unrolls a loop of few turns before it looks for vectors, and then finds slow ones. */
#if defined(__GNUC__) && !defined(__clang__)
#define GRU_ROLLED _Pragma("GCC unroll 1")
#else
#define GRU_ROLLED
#endif

/* Matrices lie column by column, NAME[column][row]. */
static const float gru_W_r[GRU_INPUT][GRU_HIDDEN] = {
    {-1.0f, -0.2f, 0.6f},
    {-0.6f, 0.2f, 1.0f},
};

static const float gru_W_z[GRU_INPUT][GRU_HIDDEN] = {
    {-0.5f, -0.1f, 0.3f},
    {-0.3f, 0.1f, 0.5f},
};

static const float gru_U_r[GRU_HIDDEN][GRU_HIDDEN] = {
    {-0.25f, -0.0625f, 0.125f},
    {-0.1875f, 0.0f, 0.1875f},
    {-0.125f, 0.0625f, 0.25f},
};

static const float gru_U_z[GRU_HIDDEN][GRU_HIDDEN] = {
    {-0.2f, -0.05f, 0.1f},
    {-0.15f, 0.0f, 0.15f},
    {-0.1f, 0.05f, 0.2f},
};

static const float gru_b_r[GRU_HIDDEN] = {
    -0.14285715f, 0.0f, 0.14285715f,
};

static const float gru_b_z[GRU_HIDDEN] = {
    -0.125f, 0.0f, 0.125f,
};

static const float gru_W_n[GRU_INPUT][GRU_HIDDEN] = {
    {-0.33333334f, -0.06666667f, 0.2f},
    {-0.2f, 0.06666667f, 0.33333334f},
};

static const float gru_U_n[GRU_HIDDEN][GRU_HIDDEN] = {
    {-0.16666667f, -0.041666668f, 0.083333336f},
    {-0.125f, 0.0f, 0.125f},
    {-0.083333336f, 0.041666668f, 0.16666667f},
};

static const float gru_b_n[GRU_HIDDEN] = {
    -0.11111111f, 0.0f, 0.11111111f,
};

/* A number and its bits: sign, exponent, fraction. */
typedef union {
    float number;
    uint32_t bits;
} gru_bits;

/* |a|, but at most so much. Whole numbers are compared, of which no compiler makes a branch. NaN stays. */
static inline float gru_bounded(float a, float most)
{
    gru_bits x, y;
    x.number = a;
    y.number = most;
    x.bits &= ~UINT32_C(0x80000000);
    const uint32_t is_nan = (x.bits + UINT32_C(0x007fffff)) >> 31;
    x.bits = (x.bits < y.bits ? x.bits : y.bits) | (0u - is_nan);
    return x.number;
}

/* A number that is not negative, with the sign of another. */
static inline float gru_with_sign(float a, float sign)
{
    gru_bits y, s;
    y.number = a;
    s.number = sign;
    y.bits |= s.bits & UINT32_C(0x80000000);
    return y.number;
}

/* The whole number that is nearest: a sum with so large a number has no digits behind the point. */
static inline float gru_whole(float a)
{
#if defined(__FAST_MATH__) || defined(_M_FP_FAST) /* which would take the sum for the number itself */
    return (float)(int32_t)(a < 0 ? a - 0.5f : a + 0.5f);
#else
    const float sum = a + 1.2582912e7f;
    return sum - 1.2582912e7f;
#endif
}

/* 2 to the power of a whole number: the last bits of the sum are the exponent, as floats have it. */
static inline float gru_power_of_2(float whole)
{
    gru_bits y;
    y.number = whole + 1.2583039e7f;
    y.bits <<= 23;
    return y.number;
}

/* exp(-a) for an a within the range of the normal numbers. */
static inline float gru_exp_of_minus(float a)
{
    const float k = gru_whole(a * -1.442695f);
    const float r = (-a - k * 0.69314575f) - k * 1.4286068e-6f;
    float p = 0.0013869669f;
    p = p * r + 0.008366249f;
    p = p * r + 0.041667446f;
    p = p * r + 0.16666546f;
    p = p * r + 0.49999997f;
    const float y = 1.0f + (r + r * r * p);
    return y * gru_power_of_2(k);
}

static inline float gru_sigmoid(float a)
{
    return 1.0f / (1.0f + gru_exp_of_minus(gru_with_sign(gru_bounded(a, 88.02969f), a)));
}

/* With h = (exp(2 |a|) - 1) / 2 it is h / (h + 1): exact around 0, and never beyond 1. */
static inline float gru_tanh(float a)
{
    const float x = gru_bounded(a, 23.0f);
    const float k = gru_whole(x * 2.88539f);
    const float r = x - k * 0.3465736f;
    const float power = gru_power_of_2(k);
    float p = 0.04438294f;
    p = p * r + 0.13385998f;
    p = p * r + 0.33333957f;
    p = p * r + 0.66666186f;
    p = p * r + 0.99999994f;
    const float h = power * (r + r * r * p) + (power * 0.5f - 0.5f);
    return gru_with_sign(h / (h + 1.0f), a);
}

void gru_reset(gru_state *state)
{
    for (int i = 0; i < GRU_HIDDEN; ++i) {
        state->h[i] = 0.0f;
    }
}

void gru_step(gru_state *state, const float x[GRU_INPUT], float y[GRU_OUTPUT])
{
    float a_r[GRU_HIDDEN] = {0};
    float a_z[GRU_HIDDEN] = {0};
    for (int j = 0; j < GRU_INPUT; ++j) {
        const float x_j = x[j];
        GRU_ROLLED
        for (int i = 0; i < GRU_HIDDEN; ++i) {
            a_r[i] += gru_W_r[j][i] * x_j;
            a_z[i] += gru_W_z[j][i] * x_j;
        }
    }
    for (int j = 0; j < GRU_HIDDEN; ++j) {
        const float h_j = state->h[j];
        GRU_ROLLED
        for (int i = 0; i < GRU_HIDDEN; ++i) {
            a_r[i] += gru_U_r[j][i] * h_j;
            a_z[i] += gru_U_z[j][i] * h_j;
        }
    }

    float z[GRU_HIDDEN];
    float r_h[GRU_HIDDEN];
    GRU_ROLLED
    for (int i = 0; i < GRU_HIDDEN; ++i) {
        const float r = gru_sigmoid(a_r[i] + gru_b_r[i]);
        z[i] = gru_sigmoid(a_z[i] + gru_b_z[i]);
        r_h[i] = r * state->h[i];
    }

    float a_n[GRU_HIDDEN] = {0};
    for (int j = 0; j < GRU_INPUT; ++j) {
        const float x_j = x[j];
        GRU_ROLLED
        for (int i = 0; i < GRU_HIDDEN; ++i) {
            a_n[i] += gru_W_n[j][i] * x_j;
        }
    }
    for (int j = 0; j < GRU_HIDDEN; ++j) {
        const float r_h_j = r_h[j];
        GRU_ROLLED
        for (int i = 0; i < GRU_HIDDEN; ++i) {
            a_n[i] += gru_U_n[j][i] * r_h_j;
        }
    }

    GRU_ROLLED
    for (int i = 0; i < GRU_HIDDEN; ++i) {
        const float n = gru_tanh(a_n[i] + gru_b_n[i]);
        state->h[i] = z[i] * state->h[i] + (1.0f - z[i]) * n;
    }

    for (int i = 0; i < GRU_OUTPUT; ++i) {
        y[i] = state->h[i];
    }
}

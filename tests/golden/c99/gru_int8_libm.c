/* See gru.h. */
#include "gru.h"

#include <math.h>

/* gcc unrolls a loop of few turns before it looks for vectors, and then finds slow ones. */
#if defined(__GNUC__) && !defined(__clang__)
#define GRU_ROLLED _Pragma("GCC unroll 1")
#else
#define GRU_ROLLED
#endif

/*
 * Matrices lie column by column, NAME[column][row].
 * Row i of a matrix of whole numbers is to be multiplied by NAME_scale[i].
 */
static const float gru_W_r_scale[GRU_HIDDEN] = {
    0.007874016f, 0.0015748031f, 0.007874016f,
};

static const signed char gru_W_r[GRU_INPUT][GRU_HIDDEN] = {
    {-127, -127, 76},
    {-76, 127, 127},
};

static const float gru_U_r_scale[GRU_HIDDEN] = {
    0.001968504f, 0.000492126f, 0.001968504f,
};

static const signed char gru_U_r[GRU_HIDDEN][GRU_HIDDEN] = {
    {-127, -127, 64},
    {-95, 0, 95},
    {-64, 127, 127},
};

static const float gru_W_z_scale[GRU_HIDDEN] = {
    0.003937008f, 0.0007874016f, 0.003937008f,
};

static const signed char gru_W_z[GRU_INPUT][GRU_HIDDEN] = {
    {-127, -127, 76},
    {-76, 127, 127},
};

static const float gru_U_z_scale[GRU_HIDDEN] = {
    0.0015748031f, 0.0003937008f, 0.0015748031f,
};

static const signed char gru_U_z[GRU_HIDDEN][GRU_HIDDEN] = {
    {-127, -127, 64},
    {-95, 0, 95},
    {-64, 127, 127},
};

static const float gru_b_r[GRU_HIDDEN] = {
    -0.14285715f, 0.0f, 0.14285715f,
};

static const float gru_b_z[GRU_HIDDEN] = {
    -0.125f, 0.0f, 0.125f,
};

static const float gru_W_n_scale[GRU_HIDDEN] = {
    0.002624672f, 0.0005249344f, 0.002624672f,
};

static const signed char gru_W_n[GRU_INPUT][GRU_HIDDEN] = {
    {-127, -127, 76},
    {-76, 127, 127},
};

static const float gru_U_n_scale[GRU_HIDDEN] = {
    0.001312336f, 0.000328084f, 0.001312336f,
};

static const signed char gru_U_n[GRU_HIDDEN][GRU_HIDDEN] = {
    {-127, -127, 64},
    {-95, 0, 95},
    {-64, 127, 127},
};

static const float gru_b_n[GRU_HIDDEN] = {
    -0.11111111f, 0.0f, 0.11111111f,
};

static inline float gru_sigmoid(float a)
{
    return 1.0f / (1.0f + expf(-a));
}

void gru_reset(gru_state *state)
{
    for (int i = 0; i < GRU_HIDDEN; ++i) {
        state->h[i] = 0.0f;
    }
}

void gru_step(gru_state *state, const float x[GRU_INPUT], float y[GRU_OUTPUT])
{
    float W_r_x[GRU_HIDDEN] = {0};
    float U_r_h[GRU_HIDDEN] = {0};
    float W_z_x[GRU_HIDDEN] = {0};
    float U_z_h[GRU_HIDDEN] = {0};
    for (int j = 0; j < GRU_INPUT; ++j) {
        const float x_j = x[j];
        GRU_ROLLED
        for (int i = 0; i < GRU_HIDDEN; ++i) {
            W_r_x[i] += gru_W_r[j][i] * x_j;
            W_z_x[i] += gru_W_z[j][i] * x_j;
        }
    }
    for (int j = 0; j < GRU_HIDDEN; ++j) {
        const float h_j = state->h[j];
        GRU_ROLLED
        for (int i = 0; i < GRU_HIDDEN; ++i) {
            U_r_h[i] += gru_U_r[j][i] * h_j;
            U_z_h[i] += gru_U_z[j][i] * h_j;
        }
    }

    float a_r[GRU_HIDDEN];
    float a_z[GRU_HIDDEN];
    GRU_ROLLED
    for (int i = 0; i < GRU_HIDDEN; ++i) {
        a_r[i] = gru_W_r_scale[i] * W_r_x[i] + gru_U_r_scale[i] * U_r_h[i];
        a_z[i] = gru_W_z_scale[i] * W_z_x[i] + gru_U_z_scale[i] * U_z_h[i];
    }

    float z[GRU_HIDDEN];
    float r_h[GRU_HIDDEN];
    GRU_ROLLED
    for (int i = 0; i < GRU_HIDDEN; ++i) {
        const float r = gru_sigmoid(a_r[i] + gru_b_r[i]);
        z[i] = gru_sigmoid(a_z[i] + gru_b_z[i]);
        r_h[i] = r * state->h[i];
    }

    float W_n_x[GRU_HIDDEN] = {0};
    float U_n_r_h[GRU_HIDDEN] = {0};
    for (int j = 0; j < GRU_INPUT; ++j) {
        const float x_j = x[j];
        GRU_ROLLED
        for (int i = 0; i < GRU_HIDDEN; ++i) {
            W_n_x[i] += gru_W_n[j][i] * x_j;
        }
    }
    for (int j = 0; j < GRU_HIDDEN; ++j) {
        const float r_h_j = r_h[j];
        GRU_ROLLED
        for (int i = 0; i < GRU_HIDDEN; ++i) {
            U_n_r_h[i] += gru_U_n[j][i] * r_h_j;
        }
    }

    float a_n[GRU_HIDDEN];
    GRU_ROLLED
    for (int i = 0; i < GRU_HIDDEN; ++i) {
        a_n[i] = gru_W_n_scale[i] * W_n_x[i] + gru_U_n_scale[i] * U_n_r_h[i];
    }

    GRU_ROLLED
    for (int i = 0; i < GRU_HIDDEN; ++i) {
        const float n = tanhf(a_n[i] + gru_b_n[i]);
        state->h[i] = z[i] * state->h[i] + (1.0f - z[i]) * n;
    }

    for (int i = 0; i < GRU_OUTPUT; ++i) {
        y[i] = state->h[i];
    }
}

/*
 * gru: a small one
 *
 * x: 2 numbers
 * y: 3 numbers
 *
 * How it is called:
 *
 *     gru_state state;
 *     float x[GRU_INPUT];
 *     float y[GRU_OUTPUT];
 *
 *     gru_reset(&state);
 *     gru_step(&state, x, y);    and so on, with each x in turn
 *
 * A state has 12 bytes, the constants have 153. Nothing is allocated, and nothing is shared between
 * states: each may have a thread of its own. x and y may not overlap.
 */
#ifndef GRU_H
#define GRU_H

#ifdef __cplusplus
extern "C" {
#endif

enum {
    GRU_INPUT = 2,
    GRU_OUTPUT = 3,
    GRU_HIDDEN = 3
};

/* What a step needs of the one before it. */
typedef struct {
    float h[GRU_HIDDEN];
} gru_state;

/* Begin anew: every state is 0. To be called before the first step. */
void gru_reset(gru_state *state);

/* Take one step: read x, write y. */
void gru_step(gru_state *state, const float x[GRU_INPUT], float y[GRU_OUTPUT]);

#ifdef __cplusplus
}
#endif

#endif /* GRU_H */

/* Times a step of the model NAME, whose output is the next input, and prints its outputs on a known input before. */
#include HEADER

#include <stdio.h>
#include <time.h>

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

int main(void)
{
    static JOIN(NAME, _state) state;
    float x[1], y[1];
    double best = 1e9;

    JOIN(NAME, _reset)(&state);
    for (int t = 0; t < 20; ++t) {
        x[0] = 0.1f * (float)(t - 10);
        JOIN(NAME, _step)(&state, x, y);
        printf("%.9g ", (double)y[0]);
    }
    for (int turn = 0; turn < TURNS; ++turn) {
        const double start = now();
        for (int t = 0; t < STEPS; ++t) {
            JOIN(NAME, _step)(&state, x, y);
            x[0] = 0.5f * y[0] + 0.1f;
        }
        const double seconds = now() - start;
        best = seconds < best ? seconds : best;
    }
    printf("%.9g\n", best / STEPS);
    return 0;
}

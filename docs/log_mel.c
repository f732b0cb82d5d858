/* Log-mel features of the recipe `sounds`, in C99, frame by frame. The numbers are those of "features" in the
 * signature of a model; give them to the compiler (-DSAMPLE_RATE=16000 ...), or write them here.
 *
 *     log_mel_begin();                          once: fills the tables
 *     log_mel_frame(samples, features);         WINDOW samples in [-1, 1] -> BANDS features; then go on by HOP samples
 */
#include <math.h>

#ifndef SAMPLE_RATE
#define SAMPLE_RATE 8000
#define WINDOW 256
#define FFT 256 /* the least power of two that is not below WINDOW */
#define BANDS 24
#define LOWEST 60.0
#define HIGHEST 4000.0
#define FLOOR 1e-6f
#endif

static float hann[WINDOW];              /* the window */
static float turn[FFT];                 /* cosine and sine of -2 pi k / FFT for k < FFT / 2 */
static float rising[FFT / 2 + 1];       /* what of a frequency belongs to the band of its place */
static short place[FFT / 2 + 1];        /* the rest belongs to the band before; -1: to no band */
static float work[2 * FFT];             /* real and imaginary parts */

static double mel(double hertz) { return 2595.0 * log10(1.0 + hertz / 700.0); }
static double hertz(double mels) { return 700.0 * (pow(10.0, mels / 2595.0) - 1.0); }

void log_mel_begin(void)
{
    const double pi = 3.14159265358979323846, step = (mel(HIGHEST) - mel(LOWEST)) / (BANDS + 1);
    for (int i = 0; i < WINDOW; i++) hann[i] = (float)(0.5 - 0.5 * cos(2 * pi * i / WINDOW));
    for (int k = 0; k < FFT / 2; k++) {
        turn[2 * k] = (float)cos(2 * pi * k / FFT);
        turn[2 * k + 1] = (float)-sin(2 * pi * k / FFT);
    }
    for (int k = 0; k <= FFT / 2; k++) {
        double f = (double)k * SAMPLE_RATE / FFT;
        place[k] = -1;
        for (int band = 0; band <= BANDS; band++) {
            double low = hertz(mel(LOWEST) + band * step), high = hertz(mel(LOWEST) + (band + 1) * step);
            if (low <= f && f < high) {
                place[k] = (short)band;
                rising[k] = (float)((f - low) / (high - low));
            }
        }
    }
}

static void fft(void) /* in place, radix 2 */
{
    for (int i = 1, j = 0; i < FFT; i++) {
        int bit = FFT >> 1;
        for (; j & bit; bit >>= 1) j ^= bit;
        j ^= bit;
        if (i < j)
            for (int part = 0; part < 2; part++) {
                float kept = work[2 * i + part];
                work[2 * i + part] = work[2 * j + part];
                work[2 * j + part] = kept;
            }
    }
    for (int half = 1; half < FFT; half *= 2)
        for (int start = 0; start < FFT; start += 2 * half)
            for (int k = 0; k < half; k++) {
                float c = turn[2 * k * (FFT / 2 / half)], s = turn[2 * k * (FFT / 2 / half) + 1];
                float *a = work + 2 * (start + k), *b = a + 2 * half;
                float re = b[0] * c - b[1] * s, im = b[0] * s + b[1] * c;
                b[0] = a[0] - re, b[1] = a[1] - im;
                a[0] += re, a[1] += im;
            }
}

void log_mel_frame(const float *samples, float *features)
{
    for (int i = 0; i < FFT; i++) {
        work[2 * i] = i < WINDOW ? samples[i] * hann[i] : 0.0f;
        work[2 * i + 1] = 0.0f;
    }
    fft();
    for (int band = 0; band < BANDS; band++) features[band] = FLOOR;
    for (int k = 0; k <= FFT / 2; k++) {
        float power = work[2 * k] * work[2 * k] + work[2 * k + 1] * work[2 * k + 1];
        if (place[k] >= 0 && place[k] < BANDS) features[place[k]] += power * rising[k];
        if (place[k] > 0) features[place[k] - 1] += power * (1.0f - rising[k]);
    }
    for (int band = 0; band < BANDS; band++) features[band] = logf(features[band]);
}

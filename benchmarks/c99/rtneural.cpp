// The same as timed.c for RTNeural: KIND is LSTM or GRU; the weights are a state dict of PyTorch as JSON.
#include <RTNeural/RTNeural.h>

#include <chrono>
#include <cstdio>
#include <fstream>

#define JOIN_(a, b, c) a##b##c
#define JOIN(a, b, c) JOIN_(a, b, c)

int main(int, char **arguments)
{
    using Layer = RTNeural::JOIN(, KIND, LayerT)<float, 1, HIDDEN>;
    using Clock = std::chrono::steady_clock;
    static RTNeural::ModelT<float, 1, 1, Layer, RTNeural::DenseT<float, HIDDEN, 1>> model;
    nlohmann::json weights;
    std::ifstream(arguments[1]) >> weights;
    RTNeural::torch_helpers::JOIN(load, KIND, )<float>(weights, "recurrent.", model.get<0>());
    RTNeural::torch_helpers::loadDense<float>(weights, "head.", model.get<1>());
    model.reset();
    alignas(RTNEURAL_DEFAULT_ALIGNMENT) float x[16] = {};
    float y = 0.0f;
    double best = 1e9;

    for (int t = 0; t < 20; ++t) {
        x[0] = 0.1f * (float)(t - 10);
        std::printf("%.9g ", (double)model.forward(x));
    }
    for (int turn = 0; turn < TURNS; ++turn) {
        const auto start = Clock::now();
        for (int t = 0; t < STEPS; ++t) {
            y = model.forward(x);
            x[0] = 0.5f * y + 0.1f;
        }
        const std::chrono::duration<double> passed = Clock::now() - start;
        best = passed.count() < best ? passed.count() : best;
    }
    std::printf("%.9g\n", best / STEPS);
}

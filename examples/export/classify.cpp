// Several calls of a network at once, each on an arena of its own and with a team of threads.
//
//   classify-threads IMAGE
//
// IMAGE is the network's input as raw float32.  The network is one of `depthwise export
// --name classify --threads 2`.  All calls must have equal results, which are printed.
#include <array>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <thread>
#include <vector>

#include "classify.h"

namespace {

constexpr int instances = 4;

using Image = std::array<float, CLASSIFY_IMAGE_ELEMENTS>;
using Scores = std::array<float, CLASSIFY_SCORES_ELEMENTS>;

// Runs tasks on a team: each worker has its share of them, the last one on the thread that calls.
void share(void *, classify_task task, const void *work, std::int32_t tasks) {
  constexpr std::int32_t last = CLASSIFY_WORKERS - 1;
  const auto begin = [tasks](std::int64_t worker) {
    return static_cast<std::int32_t>(worker * tasks / CLASSIFY_WORKERS);
  };
  std::vector<std::thread> team;
  for (std::int32_t worker = 0; worker < last; ++worker)
    team.emplace_back(task, work, worker, begin(worker), begin(worker + 1));
  task(work, last, begin(last), tasks);
  for (std::thread &each : team) each.join();
}

Scores classified(const Image &image, classify_threads threads) {
  std::vector<unsigned char> arena(CLASSIFY_ARENA_BYTES);
  Scores scores;
  classify(image.data(), scores.data(), arena.data(), threads, nullptr);
  return scores;
}

}  // namespace

int main(int count, char **words) {
  Image image;
  if (count != 2) {
    std::cerr << "usage: classify-threads IMAGE\n";
    return 2;
  }
  std::ifstream file(words[1], std::ios::binary);
  if (!file.read(reinterpret_cast<char *>(image.data()), sizeof image)) {
    std::cerr << "classify-threads: an image is " << image.size() << " floats; got " << words[1] << "\n";
    return 1;
  }

  std::array<Scores, instances> results;
  std::vector<std::thread> calls;
  for (Scores &result : results)
    calls.emplace_back([&image, &result] { result = classified(image, share); });
  for (std::thread &each : calls) each.join();

  const Scores alone = classified(image, nullptr);
  for (const Scores &result : results) {
    if (result == alone) continue;
    std::cerr << "classify-threads: calls differ\n";
    return 1;
  }
  std::cout.precision(9);
  for (float score : alone) std::cout << score << "\n";
}

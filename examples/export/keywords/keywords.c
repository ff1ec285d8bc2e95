/* Listens for keywords on a Cortex-M4F.

   Frames of audio features come one at a time and slide through a window.  Every few frames a
   network of `depthwise export --name keywords` scores the window; the keyword is the one whose
   score, smoothed over time, is best.  In the place of a microphone is a signal that is computed,
   so that the program says the same everywhere. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "keywords.h"

enum {
  FRAMES = 49,   /* in a window */
  FEATURES = 10, /* in a frame */
  EVERY = 6,     /* frames from one call of the network to the next */
  WORDS = KEYWORDS_SCORES_ELEMENTS,
  LAST_FRAME = 97
};

typedef char the_window_is_that_of_the_network
    [FRAMES * FEATURES == KEYWORDS_IMAGE_ELEMENTS ? 1 : -1];

static const char *const words[WORDS] = {"(silence)", "(unknown)", "yes", "no", "up", "down",
                                         "left", "right", "on", "off", "stop", "go"};

static unsigned char arena[KEYWORDS_ARENA_BYTES];
static float window[FRAMES][FEATURES];
static float scores[WORDS], smoothed[WORDS];
static int32_t heard;

/* Computes the features of a frame: tones that rise, each at a speed of its own, and grow loud. */
static void listen(int32_t frame, float *features) {
  int32_t i, loudness = frame / 32;
  for (i = 0; i < FEATURES; ++i)
    features[i] = (float)((frame * (2 * i + 3) % 64 - 32) * loudness) / 16.0f;
}

/* Moves the window on by a frame. */
static void slide(void) {
  memmove(window[0], window[1], sizeof window - sizeof window[0]);
  listen(heard, window[FRAMES - 1]);
  ++heard;
}

/* Moves each smoothed score a quarter of the way to the new one. */
static void smooth(void) {
  int32_t i;
  for (i = 0; i < WORDS; ++i) smoothed[i] += (scores[i] - smoothed[i]) * 0.25f;
}

static void tell(void) {
  int32_t i, best = 0;
  for (i = 1; i < WORDS; ++i)
    if (smoothed[i] > smoothed[best]) best = i;
  printf("%ld %s:", (long)heard, words[best]);
  for (i = 0; i < WORDS; ++i) printf(" %.9g", (double)smoothed[i]);
  printf("\n");
}

static void setup(void) {
  while (heard < FRAMES) slide();
  keywords(&window[0][0], smoothed, arena);
  tell();
}

static void loop(void) {
  int32_t i;
  for (i = 0; i < EVERY; ++i) slide();
  keywords(&window[0][0], scores, arena);
  smooth();
  tell();
}

int main(void) {
  setup();
  while (heard < LAST_FRAME) loop();
  return 0;
}

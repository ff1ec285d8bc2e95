/* Says which classes a network sees in a picture.

     classify PICTURE

   PICTURE is a PPM file (P6, 8 bits), which is resized to the network's size, each value from 0 to
   1; or the network's input itself as raw float32, H x W x 3.  The network is one of
   `depthwise export --name classify`, with an input `image` of 1 x height x width x 3 and an
   output `scores`. */
#include <stdio.h>

#include "classify.h"

#define BEST 5
#define WIDEST 8192

typedef char the_image_has_three_channels[CLASSIFY_IMAGE_CHANNELS == 3 ? 1 : -1];

static unsigned char arena[CLASSIFY_ARENA_BYTES];
static float image[CLASSIFY_IMAGE_ELEMENTS];
static float scores[CLASSIFY_SCORES_ELEMENTS];

/* Reads a number of a PPM's header, behind white space and comments, and the byte that ends it. */
static int number(FILE *file) {
  int value = 0;
  if (fscanf(file, " ") != 0) return -1;
  for (;;) {
    int byte = getc(file);
    if (byte != '#') {
      ungetc(byte, file);
      break;
    }
    if (fscanf(file, "%*[^\n] ") != 0) return -1;
  }
  if (fscanf(file, "%5d", &value) != 1) return -1;
  getc(file);
  return value;
}

/* Reads the pixels of a PPM behind its "P6": for each of the network's, the nearest one. */
static int read_ppm(FILE *file) {
  static unsigned char line[WIDEST * 3];
  int width = number(file), height = number(file), most = number(file);
  long start = ftell(file);
  int row, column, colour, at = 0;
  if (width < 1 || width > WIDEST || height < 1 || most != 255) return 0;
  for (row = 0; row < CLASSIFY_IMAGE_HEIGHT; ++row) {
    long above = (long)row * height / CLASSIFY_IMAGE_HEIGHT;
    if (fseek(file, start + above * width * 3, SEEK_SET) != 0) return 0;
    if (fread(line, 3, (size_t)width, file) != (size_t)width) return 0;
    for (column = 0; column < CLASSIFY_IMAGE_WIDTH; ++column)
      for (colour = 0; colour < 3; ++colour) {
        long from = (long)column * width / CLASSIFY_IMAGE_WIDTH;
        image[at++] = (float)line[from * 3 + colour] / 255.0f;
      }
  }
  return 1;
}

static int read_picture(const char *path) {
  FILE *file = fopen(path, "rb");
  int whole = 0;
  if (!file) return 0;
  if (getc(file) == 'P' && getc(file) == '6') {
    whole = read_ppm(file);
  } else {
    rewind(file);
    whole = fread(image, sizeof image, 1, file) == 1 && getc(file) == EOF;
  }
  fclose(file);
  return whole;
}

/* Prints the best classes, the best first. */
static void print_best(void) {
  static int told[CLASSIFY_SCORES_ELEMENTS];
  int place, i;
  for (place = 0; place < BEST && place < CLASSIFY_SCORES_ELEMENTS; ++place) {
    int best = -1;
    for (i = 0; i < CLASSIFY_SCORES_ELEMENTS; ++i)
      if (!told[i] && (best < 0 || scores[i] > scores[best])) best = i;
    told[best] = 1;
    printf("class %d: %.6f\n", best, (double)scores[best]);
  }
}

int main(int count, char **words) {
  if (count != 2) {
    fprintf(stderr, "usage: classify PICTURE\n");
    return 2;
  }
  if (!read_picture(words[1])) {
    fprintf(stderr, "classify: a picture is a PPM (P6, 8 bits) or %d floats; got %s\n",
            CLASSIFY_IMAGE_ELEMENTS, words[1]);
    return 1;
  }
  classify(image, scores, arena);
  print_best();
  return 0;
}

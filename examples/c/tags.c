/* SPDX-License-Identifier: MPL-2.0
 *
 * Prints a file's instrument tags twice: as they come on the bus, and as they ride on the buffers.
 *
 *     cc examples/c/tags.c -o target/tags $(pkg-config --cflags --libs gstreamer-1.0)
 *     scripts/env target/tags examples/media/band.mp4
 */

#include <gst/gst.h>

static const char *PIPELINE =
    "uridecodebin name=decoder "
    "decoder. ! queue ! frameclassify ! fuse.video "
    "decoder. ! queue ! melspec ! frameclassify ! fuse.audio "
    "avfuse name=fuse ! fakesink name=sink sync=false";

static void
show (const char *where, const GstStructure * result)
{
  const GValue *labels = gst_structure_get_value (result, "labels");
  const GValue *scores = gst_structure_get_value (result, "scores");
  guint64 start = 0;
  GString *line = g_string_new (NULL);

  gst_structure_get_uint64 (result, "start", &start);
  g_string_printf (line, "%s %s %.2f s:", where, gst_structure_get_string (result, "source"),
      (double) start / GST_SECOND);
  for (guint i = 0; i < gst_value_array_get_size (labels); i++)
    g_string_append_printf (line, " %s %.2f",
        g_value_get_string (gst_value_array_get_value (labels, i)),
        g_value_get_double (gst_value_array_get_value (scores, i)));
  g_print ("%s\n", line->str);
  g_string_free (line, TRUE);
}

static void
on_message (GstMessage * message)
{
  if (gst_message_has_name (message, "instrument-tags"))
    show ("bus", gst_message_get_structure (message));
}

static GstPadProbeReturn
on_buffer (GstPad * pad, GstPadProbeInfo * info, gpointer user_data)
{
  GstCustomMeta *meta = gst_buffer_get_custom_meta (GST_PAD_PROBE_INFO_BUFFER (info), "InstrumentTagsMeta");

  if (meta != NULL) {
    const GValue *tags = gst_structure_get_value (gst_custom_meta_get_structure (meta), "tags");
    for (guint i = 0; i < gst_value_array_get_size (tags); i++) {
      const GstStructure *result = gst_value_get_structure (gst_value_array_get_value (tags, i));
      gboolean fresh = FALSE;
      gst_structure_get_boolean (result, "fresh", &fresh);
      if (fresh)                /* later buffers carry the same result until the next one */
        show ("buffer", result);
    }
  }
  return GST_PAD_PROBE_OK;
}

int
main (int argc, char **argv)
{
  GError *error = NULL;

  gst_init (&argc, &argv);
  if (argc != 2) {
    g_printerr ("usage: tags FILE\n");
    return 2;
  }

  GstElement *pipeline = gst_parse_launch (PIPELINE, &error);
  char *uri = error == NULL ? gst_filename_to_uri (argv[1], &error) : NULL;
  if (error != NULL) {
    g_printerr ("error: %s\n", error->message);
    return 1;
  }

  GstElement *decoder = gst_bin_get_by_name (GST_BIN (pipeline), "decoder");
  GstElement *sink = gst_bin_get_by_name (GST_BIN (pipeline), "sink");
  GstPad *pad = gst_element_get_static_pad (sink, "sink");
  GstBus *bus = gst_element_get_bus (pipeline);
  g_object_set (decoder, "uri", uri, NULL);
  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER, on_buffer, NULL, NULL);
  gst_element_set_state (pipeline, GST_STATE_PLAYING);

  GstMessage *message;
  while ((message = gst_bus_timed_pop_filtered (bus, GST_CLOCK_TIME_NONE,
              GST_MESSAGE_ELEMENT | GST_MESSAGE_ERROR | GST_MESSAGE_EOS)) != NULL
      && GST_MESSAGE_TYPE (message) == GST_MESSAGE_ELEMENT) {
    on_message (message);
    gst_message_unref (message);
  }
  if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR) {
    gst_message_parse_error (message, &error, NULL);
    g_printerr ("error: %s\n", error->message);
  }

  int code = error != NULL;
  g_clear_error (&error);
  gst_message_unref (message);
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (bus);
  gst_object_unref (pad);
  gst_object_unref (sink);
  gst_object_unref (decoder);
  gst_object_unref (pipeline);
  g_free (uri);
  return code;
}

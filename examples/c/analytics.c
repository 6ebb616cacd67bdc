/* SPDX-License-Identifier: MPL-2.0
 *
 * Prints the instrument tags of a file's sound from GStreamer's own analytics metadata; needs GStreamer 1.24 or newer.
 *
 *     cc examples/c/analytics.c -o target/analytics $(pkg-config --cflags --libs gstreamer-analytics-1.0)
 *     scripts/env target/analytics examples/media/band.mp4
 */

#include <gst/gst.h>
#include <gst/analytics/analytics.h>

static const char *PIPELINE =
    "uridecodebin3 name=decoder ! melspec ! frameclassify ! fakesink name=sink sync=false";

/* Later buffers carry the same result until the next one: prints each once. */
static void
show (GstBuffer * buffer, GstAnalyticsClsMtd * result)
{
  static char *latest = NULL;
  GString *line = g_string_new (NULL);

  for (gsize i = 0; i < gst_analytics_cls_mtd_get_length (result); i++)
    g_string_append_printf (line, "%s%s %.2f", i > 0 ? ", " : "",
        g_quark_to_string (gst_analytics_cls_mtd_get_quark (result, i)),
        gst_analytics_cls_mtd_get_level (result, i));
  if (g_strcmp0 (latest, line->str) != 0)
    g_print ("%.2f s: %s\n", (double) GST_BUFFER_PTS (buffer) / GST_SECOND, line->str);
  g_free (latest);
  latest = g_string_free (line, FALSE);
}

static GstPadProbeReturn
on_buffer (GstPad * pad, GstPadProbeInfo * info, gpointer user_data)
{
  GstBuffer *buffer = GST_PAD_PROBE_INFO_BUFFER (info);
  GstAnalyticsRelationMeta *meta = gst_buffer_get_analytics_relation_meta (buffer);
  gsize length = meta != NULL ? gst_analytics_relation_get_length (meta) : 0;
  GstAnalyticsClsMtd result;

  for (gsize i = 0; i < length; i++)
    if (gst_analytics_relation_meta_get_cls_mtd (meta, i, &result))
      show (buffer, &result);
  return GST_PAD_PROBE_OK;
}

int
main (int argc, char **argv)
{
  GError *error = NULL;

  gst_init (&argc, &argv);
  if (argc != 2) {
    g_printerr ("usage: analytics FILE\n");
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

  GstMessage *message = gst_bus_timed_pop_filtered (bus, GST_CLOCK_TIME_NONE, GST_MESSAGE_ERROR | GST_MESSAGE_EOS);
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

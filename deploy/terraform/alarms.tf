resource "aws_sns_topic" "alarms" {
  name = "${var.name}-alarms"
}

resource "aws_sns_topic_policy" "alarms" {
  arn    = aws_sns_topic.alarms.arn
  policy = data.aws_iam_policy_document.topic.json
}

# One message for each task that ended with another exit code than 0, was killed, or could not be started.
resource "aws_cloudwatch_event_rule" "failed_run" {
  name        = "${var.name}-failed-run"
  description = "asyncgg ended with an exit code other than 0, or did not start"
  event_pattern = jsonencode({
    source      = ["aws.ecs"]
    detail-type = ["ECS Task State Change"]
    detail = {
      clusterArn        = [aws_ecs_cluster.this.arn]
      taskDefinitionArn = [aws_ecs_task_definition.this.arn]
      lastStatus        = ["STOPPED"]
      containers        = { exitCode = [{ anything-but = 0 }, { exists = false }] }
    }
  })
}

resource "aws_cloudwatch_event_target" "failed_run" {
  rule = aws_cloudwatch_event_rule.failed_run.name
  arn  = aws_sns_topic.alarms.arn

  input_transformer {
    input_paths = {
      code   = "$.detail.containers[0].exitCode"
      reason = "$.detail.stoppedReason"
      task   = "$.detail.taskArn"
    }
    input_template = "\"asyncgg ended with exit code <code>: <reason> (<task>)\""
  }
}

resource "aws_cloudwatch_metric_alarm" "not_started" {
  alarm_name          = "${var.name}-not-started"
  alarm_description   = "EventBridge Scheduler could not start the task of asyncgg; the message in the queue says why."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = aws_sqs_queue.not_started.name }
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
}

resource "aws_cloudwatch_log_metric_filter" "completed" {
  name           = "${var.name}-completed-runs"
  log_group_name = aws_cloudwatch_log_group.this.name
  pattern        = "{ $.exit = 0 }"

  metric_transformation {
    namespace = "asyncgg/${var.name}"
    name      = "CompletedRuns"
    value     = "1"
  }
}

resource "aws_cloudwatch_metric_alarm" "no_success" {
  alarm_name          = "${var.name}-no-success"
  alarm_description   = "No run of asyncgg ended with exit code 0 in the last hours; see the log group."
  namespace           = "asyncgg/${var.name}"
  metric_name         = "CompletedRuns"
  statistic           = "Sum"
  period              = 3600
  evaluation_periods  = var.alarm_hours
  threshold           = 1
  comparison_operator = "LessThanThreshold"
  treat_missing_data  = "breaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
}

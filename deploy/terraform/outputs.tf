output "topic_arn" {
  value       = aws_sns_topic.alarms.arn
  description = "Subscribe to this topic to receive the alarms."
}

output "log_group_name" {
  value       = aws_cloudwatch_log_group.this.name
  description = "The log of the runs."
}
